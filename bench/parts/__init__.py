"""Parts of the comparison, one module each.

A part has a TITLE, run(comparison), which measures and returns what goes into
results.json, and make_report(result, folder), which makes markdown lines of
it and may put plots into the folder.
"""
