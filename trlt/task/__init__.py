"""What is asked, and what an answer earns: sample, prompt, answer, score, reward.

Pure: knows no model, no frames and no files but those of samples. One function grades a text (`grade`).
"""
