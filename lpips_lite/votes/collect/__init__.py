"""A page on which people vote on images.

`lists`, `proposing` and `catches` make the items of a study. `schedule` plans the trials of each person, `store` keeps
trials and votes in one file, and `pages` and `app` serve the page. `quality` checks the people who voted, and `export`
writes tables for `lpips-votes check`, `fit` and `agree`.
"""
