"""Benchmarks: is it better than JPEG, how fast is it, and is it really exact?"""
