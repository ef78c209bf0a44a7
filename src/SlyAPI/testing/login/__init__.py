"""What a person sees: the consent page, a device's code, signing out; and the requests that lead there."""
