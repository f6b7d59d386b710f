"""`python -m deployer` is `deployer`."""

from deployer.cli.main import main

main()
