"""A page on which people vote: images in, judgments out.

What is judged (`lists`, `proposing`, `catches`) becomes the items of a study; `schedule` plans the trials of each
person; `store` keeps trials and votes in one file; `pages` and `app` serve the page; `quality` looks at the people who
voted, and `export` writes tables for `lpips-votes check`, `fit` and `agree`.
"""
