"""The HTTP edge: parse, call one verb, render. Rules live below."""
