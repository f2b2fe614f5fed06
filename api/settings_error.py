"""The one error of settings, apart from them: every start of the command may meet it, and few read settings."""


class SettingsError(ValueError):
    """The settings cannot be used; a line for each thing that is wrong, with its place."""
