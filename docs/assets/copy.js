// The copy button of a block takes what is typed: neither prompts nor answers.
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-clipboard-target]");
  const lines = document.querySelector(button?.dataset.clipboardTarget ?? null)?.textContent.split("\n") ?? [];
  const typed = lines.filter((line) => /^(>>>|\.\.\.|\$) /.test(line)).map((line) => line.replace(/^\S+ /, ""));
  if (typed.length) button.dataset.clipboardText = typed.join("\n");
}, { capture: true });
