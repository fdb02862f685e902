// Texts that can hardly be read: those whose contrast to their background is below 4.5 (WCAG 2.2, level AA).
() => {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * (top[3] ?? 1) + below[i] * (1 - (top[3] ?? 1)));
  const background = (element) =>
    element ? over(channels(getComputedStyle(element).backgroundColor), background(element.parentElement)) : [255, 255, 255];
  const luminance = (colour) =>
    colour
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);

  const faint = {};
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const words = texts.currentNode.data.trim();
    const element = texts.currentNode.parentElement;
    if (!words || element.matches("script, style, option") || !element.checkVisibility({ checkVisibilityCSS: true })) continue;
    const colour = getComputedStyle(element).color;
    const below = background(element);
    const found = contrast(luminance(over(channels(colour), below)), luminance(below));
    if (found < 4.5) faint[`${element.tagName}.${element.className}: ${colour} on ${below.map(Math.round)}, ${found.toFixed(1)}`] = words.slice(0, 40);
  }
  return faint;
}
