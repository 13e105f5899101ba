"""The verbs on sets of pairs on disk: built, imported, looked after."""
