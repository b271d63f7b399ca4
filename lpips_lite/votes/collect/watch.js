"use strict";
/** Update the page every few seconds, unless something on it is open or in use. */
setInterval(async () => {
  const main = document.getElementById("watch");
  if (document.hidden || main.querySelector("details[open]") || main.contains(document.activeElement)) return;
  try {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    main.replaceChildren(...page.getElementById("watch").childNodes);
    document.title = page.title;
  } catch { /* the server cannot be reached; try again next time */ }
}, 5000);
