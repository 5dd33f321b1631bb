"""What people and programs see. Commands return data; this draws it."""
