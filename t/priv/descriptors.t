#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Descriptors instead of names: watched by strace from after their start, smtpd, smtp-client and vault
# open nothing and make no socket but smtp-client's to hosts, while tables, certificates with their keys
# and the log are replaced and the processes that they talk to begin anew.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Sink;
use Gatepost::Tls;
use Gatepost::TlsSink;
use Gatepost::Vault;
use MIME::Base64 ();
use Test::More;

plan skip_all => 'a build with sanitizers opens files of its own'
    if slurp(build() . '/config.h') =~ /^#define GP_SANITIZE/m;
need('strace', 'gzip', 'openssl');
my $dir = tempdir('descriptors');
my $sink = Gatepost::Sink->new;
my $port = free_port();
spew("$dir/pw", 'joe ' . crypt_record('secret') . "\n");
spew("$dir/access", "bad\@x.test REJECT\n");
my %pair = map { $_ => pair("$dir/$_", 'p256', name => "$_.test") } qw(old new sni next client other);
sub use_pair { spew("$dir/$_[0].pem", slurp($pair{ $_[1] }{chain})) }
sub use_name { spew("$dir/names", "sni.test $pair{ $_[0] }{chain}\n"); $_[1]->tool('gatemap', '-F', "hash:$dir/names") }
use_pair('chain', 'old');
use_pair('own', 'client');
# It wants a certificate of ours, and says whose it got.
my $tls = Gatepost::TlsSink->new(cert => $pair{old}, server => ['-Verify', 1]);
my $gp = Gatepost::Instance->new(
    main => { smtpd_tls_security_level => 'may', smtpd_tls_chain_files => "$dir/chain.pem", tls_server_sni_maps => "hash:$dir/names",
        transport_maps => 'inline:{tls.test=smtp:[127.0.0.1]:' . $tls->port . '}', smtp_tls_security_level => 'may',
        smtp_tls_chain_files => "$dir/own.pem", smtp_tls_connection_reuse => 'no', smtp_tls_session_cache_timeout => '0s', relayhost => '[127.0.0.1]:' . $sink->port, smtpd_sasl_type => 'table',
        smtpd_sasl_password_maps => "hash:$dir/pw", smtpd_sender_restrictions => "check_sender_access hash:$dir/access",
        maillog_file_compressor => 'gzip' },
    master => ["$port inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes"],
);
$gp->tool('gatemap', "hash:$dir/$_") for qw(pw access);
use_name('sni', $gp);
$gp->start;

sub try_login {
    my ($password) = @_;
    my $c = Gatepost::Smtp->new(port => $port) or return 0;
    $c->hello or return 0;
    $c->send('AUTH PLAIN ' . MIME::Base64::encode_base64("\0joe\0$password", '') . "\r\n");
    return $c->reply->{code};
}

# The name in the certificate that a client gets.
sub served {
    my ($name) = @_;
    my $c = $gp->session or return 'no session';
    my $t = starttls($c, $name ? ('-servername', $name) : '-noservername') or return 'no TLS';
    $t->cmd('QUIT', 221);
    return $t->{tls}{subject} =~ s/^CN = //r;
}

# Every process of these programs, with its children, from now on.
my %watched = map { $_ => [@{ $gp->roles->{$_} }] } qw(smtpd smtp-client vault);
my @pids = map {@$_} values %watched;
my $trace = "$dir/trace";
my $strace = spawn({}, 'strace', '-f', '-o', $trace, '-e', 'trace=%file,%network,execve,execveat,memfd_create,io_uring_setup',
    '-e', 'signal=none', map { ('-p', $_) } @pids);
ok(wait_until(20, sub { !grep { slurp("/proc/$_/status") !~ /^TracerPid:\t[1-9]/m } @pids }), 'they are watched');

sub works {
    my ($when) = @_;
    is($gp->mail('a@x.test', 'b@y.test', "Subject: $when\r\n\r\nx\r\n")->{code}, 250, "$when: mail is taken");
    ok($gp->drained, "$when: and delivered");
    is(try_login('secret'), 235, "$when: a login");
    is($gp->mail('a@x.test', 'b@tls.test', "Subject: $when\r\n\r\nx\r\n")->{code}, 250, "$when: mail for TLS");
    ok(wait_until(20, sub { grep { $_->{tls} } $tls->messages }), "$when: goes by TLS");
}
works('at first');
is(served(), 'old.test', 'the certificate');
is(served('sni.test'), 'sni.test', 'that of a name');
is($gp->mail('bad@x.test', 'b@y.test', "x: y\r\n\r\nx\r\n")->{code}, 554, 'the access table');

spew("$dir/pw", 'joe ' . crypt_record('new') . "\n");
spew("$dir/access", "other\@x.test REJECT\n");
$gp->tool('gatemap', "hash:$dir/$_") for qw(pw access);
ok(wait_until(20, sub { try_login('new') == 235 }), 'a new password table is in force');
ok(wait_until(20, sub { $gp->mail('other@x.test', 'b@y.test', "x: y\r\n\r\nx\r\n")->{code} == 554 }), 'a new access table is in force');
# In one worker as in the other.
ok(wait_until(20, sub { $gp->mail('bad@x.test', 'b@y.test', "x: y\r\n\r\nx\r\n")->{code} == 250 }), 'and the old one is not');

use_pair('chain', 'new');
use_name('next', $gp);
ok(wait_until(20, sub { served() eq 'new.test' }), 'a new certificate with its key is in force');
ok(wait_until(20, sub { served('sni.test') eq 'next.test' }), 'and that of a name');
$gp->mark;
use_pair('own', 'other');
$gp->wait_log(qr/own\.pem: the new certificate is in force/, 'one for servers, too');
my $before = () = $tls->messages;
is($gp->mail('a@x.test', 'c@tls.test', "x: y\r\n\r\nx\r\n")->{code}, 250, 'mail for TLS');
ok(wait_until(20, sub { $tls->messages > $before }), 'goes with it');

my ($status, $out) = $gp->tool('gatepost', 'logrotate');
is($status, 0, 'the log is rotated') or diag($out);
$gp->{marks} = 0;
is($gp->mail('a@x.test', 'rotated@y.test', "x: y\r\n\r\nx\r\n")->{code}, 250, 'mail after it');
$gp->wait_log(qr/smtpd\[\d+\]: connect from/, 'smtpd writes to the new log');
$gp->wait_log(qr/smtp\[\d+\]: \w+: to=<rotated\@y\.test>/, 'smtp-client, too');

for my $role (qw(resolver tally cleanup qmgr)) {
    $gp->kill_role($role);
    ok(wait_until(20, sub { $gp->mail('a@x.test', "$role\@y.test", "x: y\r\n\r\nx\r\n")->{code} == 250 }), "after a death of $role: mail is taken");
    ok(wait_until(30, sub { grep { $_->{rcpts}[0] =~ /^\Q$role\E\@/ } $sink->messages }), "after a death of $role: and delivered");
}
is(try_login('new'), 235, 'a login');
is_deeply({ map { my $name = $_; $name => [grep { is_alive($_) } @{ $watched{$_} }] } keys %watched }, \%watched, 'the same processes all the time');
kill 'INT', $strace;
stop_pid($strace);

# What was seen; a call may have been torn into two lines.
my %client = map { $_ => 1 } @{ $watched{'smtp-client'} };
my (@calls, %begun);
for (split /\n/, slurp($trace)) {
    if (/^(\d+) +(\w+\(.*) <unfinished \.\.\.>$/) { $begun{$1} = $2 }
    elsif (/^(\d+) +<\.\.\. \w+ resumed>(.*)$/) { push @calls, "$1 " . (delete $begun{$1} // '') . $2 }
    elsif (/^\d+ +\w+\(/) { push @calls, $_ }
}
push @calls, map {"$_ $begun{$_} = ?"} keys %begun;
cmp_ok(scalar @calls, '>', 100, scalar(@calls) . ' calls were seen');
# What the sandbox refuses counts too: who tries has a need that no descriptor serves. But Berkeley DB
# counts processors for each handle, and is refused.
my $counts = qr{^\d+ +openat\(AT_FDCWD, "(?:/sys/devices/system/cpu/online|/proc/stat)", O_RDONLY\|O_CLOEXEC\) += -1 EACCES };
@calls = grep { $_ !~ $counts } @calls;
my @opened = grep {/^\d+ +(?:open|openat|openat2|creat|execve|execveat|memfd_create|io_uring_setup)\(/} @calls;
is(join("\n", @opened), '', 'nothing is opened or executed, nor is that tried');
my @refused = grep {/= -1 (?:EACCES|EPERM|ENOSYS) /} @calls;
is(join("\n", @refused), '', 'nothing else is tried that is refused');
my @sockets = grep {/^\d+ +(?:socket|socketpair|bind|listen)\(/} @calls;
is(join("\n", grep { !/^(\d+) +(?:socket\(AF_INET6?, SOCK_STREAM|bind\()/ || !$client{$1} } @sockets), '', 'no socket but of smtp-client, by TCP');
cmp_ok(scalar @sockets, '>=', 1, 'which makes them');
my @names = grep {/^\d+ +(?:rename|unlink|mkdir|chdir|chroot|mount|symlink|link)\w*\(/} @calls;
is(join("\n", @names), '', 'no name is changed');
$gp->stop;
done_testing;
