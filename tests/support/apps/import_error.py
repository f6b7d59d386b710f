"""A Serve application that cannot be imported, as after a forgotten requirement."""

import a_module_that_nobody_installed  # type: ignore[import-not-found]  # that is its purpose

app = a_module_that_nobody_installed.app
