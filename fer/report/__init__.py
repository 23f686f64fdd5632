"""What a run leaves behind: tables, figures and records. Nothing here trains."""
