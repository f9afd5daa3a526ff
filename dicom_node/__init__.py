"""The wire: everything that speaks DICOM and knows nothing of models or jobs.

It receives, judges, sends, asks and answers.
It never decides what a study is for and never writes to disk: whoever runs it passes an `Intake`.
"""
