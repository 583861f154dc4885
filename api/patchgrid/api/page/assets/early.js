// Before anything is drawn, so that the page never flashes in the other colours.
(() => {
  try {
    const theme = localStorage.getItem("patchgrid-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is switched off: the system's colours it is.
  }
})();
