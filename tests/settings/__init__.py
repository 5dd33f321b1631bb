"""Tests of the settings: files, levels, places of stores."""
