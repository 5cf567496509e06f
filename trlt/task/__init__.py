"""Questions and the grading of answers: sample, prompt, answer, score, reward.

Pure: knows no model, no frames and no files except sample files. One function grades a text (`grade`).
"""
