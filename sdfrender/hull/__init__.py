"""The visual hull: the largest shape that all silhouettes allow, and the box that holds it.

A silhouette that keeps off the edge of the frame shows the whole object: what projects outside the
frame, or lies behind the camera, is not object. One that reaches the edge is cut there: such a view
says nothing about points outside its frame. Nor does any view where its silhouette weight is 0.

`outlines` makes distances of silhouettes, `carving` looks at points from all views, `visual_hull`
and `bounds` are made from it. It imports `geometry` and `view`.
"""
