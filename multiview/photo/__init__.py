"""What a photograph is made of beside the shape: light, albedo, exposure, the blur of a lens.

All are solved for with the shape held fixed. It imports `scenes` and `sdfrender`; `optimize`,
`surgery` and all above import it.
"""
