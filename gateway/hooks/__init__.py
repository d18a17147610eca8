"""What providers tell of mail they took from us, bytes to values: one module a provider.

Each has `prove`, which says whether a request is its provider's, and `read`, which gives the events in it. `sns` is the
envelope that SES puts around its own. Nothing here fetches, stores or knows the time.

Total: whatever the bytes, `prove` raises nothing but Unproven and Malformed, and `read` nothing but Malformed.
"""
