import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import fastify from 'fastify';
import type { Log } from '../base/log.js';
import { type HttpLimits, serverOptions } from './http-server.js';
import { problemHandler } from './problem.js';

export type ControlApi = ReturnType<typeof newApi>;

/** Names of exports and bitmaps may be long: up to 4096 and 1023 bytes, each of which may be written as %XX. */
const MAX_PARAMETER_LENGTH = 3 * 4096;

/** An API without routes. */
export function newApi(log: Log, limits: HttpLimits) {
  return fastify({
    ...serverOptions(limits),
    return503OnClosing: false,
    routerOptions: { maxParamLength: MAX_PARAMETER_LENGTH },
    // Those of the router, which come before there is a route to handle its errors.
    frameworkErrors: problemHandler(log),
  })
    .withTypeProvider<TypeBoxTypeProvider>()
    .setValidatorCompiler(TypeBoxValidatorCompiler);
}
