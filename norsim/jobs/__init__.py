"""Who does the work of a run, and where finished work is kept."""
