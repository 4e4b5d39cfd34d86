"""From a request's bytes to usage events, or to the full list of what is wrong with them."""
