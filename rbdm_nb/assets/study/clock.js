const round = t => Math.round(t * 1000) / 1000;                     // milliseconds, to the microsecond
const nextFrame = () => new Promise(requestAnimationFrame);         // what follows an await of it still belongs to that frame

async function frameAfter(time) {                                   // the first frame that begins then or later
  let began;
  do began = await nextFrame(); while (began < time);
  return began;
}

function clockOffset() {                                            // wall clock minus performance.now()
  const start = performance.now(), before = Date.now();
  let now = before;
  while (now === before && performance.now() - start < 5) now = Date.now();
  return now - performance.now();
}

async function framePeriod(steps = 40) {                            // lower quartile: dropped frames do not count
  const times = [await nextFrame()];
  while (times.length <= steps) times.push(await nextFrame());
  return times.slice(1).map((t, k) => t - times[k]).sort((a, b) => a - b)[steps / 4];
}
