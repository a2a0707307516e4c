"""Verdicts kept: tables, migrations, one transaction for verdicts and places, retention, backup."""
