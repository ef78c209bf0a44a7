"""`doctor`: what is wrong with a set-up, gathered, judged and printed."""
