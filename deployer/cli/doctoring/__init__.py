"""The checks of `deployer doctor`: each looks at one thing, and changes nothing."""
