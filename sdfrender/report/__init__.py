"""What the reports of all kinds of runs share: pictures, the mesh to turn, style and script."""
