"""Composing a report from analysed articles and rendering it; everything here is pure."""
