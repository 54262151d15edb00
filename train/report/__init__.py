"""The model card for people: Markdown, figures, and one HTML page that needs nothing else."""
