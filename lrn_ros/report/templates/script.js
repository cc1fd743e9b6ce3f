// Pictures are kept once, as data, and are put into the page when they are to be seen.
const pictures = JSON.parse(document.getElementById('pictures').textContent);
const fill = (part) => part.querySelectorAll('img[data-picture]').forEach((image) => {
  if (!image.src) image.src = pictures[image.dataset.picture] || '';
});
const strip = document.getElementById('strip');
if (strip) {
  const frames = JSON.parse(document.getElementById('strip-data').textContent);
  const image = document.getElementById('strip-image');
  const caption = document.getElementById('strip-caption');
  const show = () => {
    image.src = pictures[frames[strip.value].picture];
    caption.textContent = frames[strip.value].caption;
  };
  strip.addEventListener('input', show);
  show();
}
const choice = document.getElementById('worst-class');
const show = () => document.querySelectorAll('[data-class]').forEach((part) => {
  part.hidden = choice !== null && part.dataset.class !== choice.value;
  if (!part.hidden) fill(part);
});
if (choice) choice.addEventListener('change', show);
show();
const dialog = document.getElementById('enlarged');
dialog.addEventListener('click', () => dialog.close());
document.addEventListener('click', (event) => {
  if (event.target.matches('img[data-picture], #strip-image')) {
    dialog.querySelector('img').src = event.target.src;
    dialog.showModal();
  }
});
