import type { ImageOrder, ImageResult } from './image-orders.js';
import { ImageWorker } from './image-worker.js';
import { isStopped, serveOrders } from './serve-orders.js';

const worker = new ImageWorker(isStopped);

serveOrders<ImageOrder, ImageResult>((order) => worker.carryOut(order));
