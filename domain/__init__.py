"""The rules of metering and billing: pure values and functions, without clock, randomness or I/O."""
