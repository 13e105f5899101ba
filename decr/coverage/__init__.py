"""The verb `decr ccp`: the cloud coverage of scenes, counted and reported."""
