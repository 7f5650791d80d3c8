"""A folder of a user's own videos: what is in it, and the parameters that suit it (`digan init`)."""
