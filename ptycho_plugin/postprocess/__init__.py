"""What is done to a finished map: registration and resolution."""
