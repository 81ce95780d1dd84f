"""What is said of an evaluation: as text, as one page of HTML, as Markdown."""
