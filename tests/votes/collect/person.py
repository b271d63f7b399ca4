"""A person who votes in a browser, and what they see."""

from tests.browser import User


class Person(User):
    """A person who votes in a browser."""

    def __init__(self, driver, address):
        super().__init__(driver)
        self.address = address

    def begin(self):
        self.driver.get(self.address)
        self.wait("!document.getElementById('welcome').hidden")
        self.css("#begin").click()
        self.ready()

    def ready(self):
        """Wait until the images are there or all is done; return how many answers there were."""
        self.wait("ready || !document.getElementById('thanks').hidden")
        return self.driver.execute_script("return document.getElementById('count').textContent")

    def done(self):
        return self.css("#thanks").is_displayed()

    def answer(self, press):
        """Answer with `press`, and wait until the answer is saved and the next trial is shown."""
        count = self.ready()
        press()
        self.wait(f"$('count').textContent !== '{count}' && ready || !$('thanks').hidden")
