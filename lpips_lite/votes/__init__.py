"""People's judgments of which of two images is closer to a reference: reading, checking, fitting, comparing."""
