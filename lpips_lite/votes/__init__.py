"""Judgments of people about which of two images is closer to a reference: read, checked, fitted to, agreed with."""
