"""How the surface of a run looks: what it shows beyond colour and light, as a run keeps it.

`view_dependence` evaluates colours that depend on the view, with the compiled sums of `view_sums`;
`run_look` reads colour, light and these from a run's folder. How they are found is in
`multiview.photo`. It imports `geometry`, `kernels`, `rendering`, `view`, `files` and `io`; of this
package only `commands` imports it.
"""
