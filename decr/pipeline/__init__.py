"""The verb on scenes: clouds found, tiles restored, one output; and what counting clouds shares."""
