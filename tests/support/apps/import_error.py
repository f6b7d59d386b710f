"""A Serve application that cannot be imported, as after a forgotten requirement."""

import a_module_that_nobody_installed

app = a_module_that_nobody_installed.app
