"""Invoices as people get them: a page to print, rows for a spreadsheet."""
