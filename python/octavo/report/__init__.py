"""What people read: tables about a model, timings, pictures."""
