"""Finds faces in pictures and videos and says what they show."""
