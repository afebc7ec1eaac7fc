"""What people look at after a run: its decision, its roll-out, and the track record of the months."""
