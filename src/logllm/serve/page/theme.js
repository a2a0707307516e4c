// Colours: as the system has them, unless this person chose. Runs before anything is drawn.
"use strict";
(() => {
  const KEY = "logllm-theme";
  const CHOICES = ["auto", "light", "dark"];
  const read = () => {
    try {
      return localStorage.getItem(KEY) || "auto";
    } catch {
      return "auto"; // storage is switched off
    }
  };

  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  apply(read());

  addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("#theme");
    const tell = (theme) => {
      button.textContent = theme;
      const words = theme === "auto" ? "colours of the system" : "as you chose";
      button.setAttribute("aria-label", `${theme}: colours ${words}`);
    };
    tell(read());
    button.addEventListener("click", () => {
      const theme = CHOICES[(CHOICES.indexOf(read()) + 1) % CHOICES.length];
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // It holds for this page only.
      }
      apply(theme);
      tell(theme);
      dispatchEvent(new Event("themechange"));
    });
  });
})();
