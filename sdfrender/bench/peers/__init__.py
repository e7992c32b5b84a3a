"""Other programs and compilers, beside which the engines are timed. It imports `bench` alone."""
