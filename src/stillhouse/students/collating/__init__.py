"""Encoded examples -> a micro-batch, one file for each shape of network: who shifts, masks and pads, in one place each."""
