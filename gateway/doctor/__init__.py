"""What an installation rests on, looked at from outside the mail flow; every finding is a value for a person."""
